"""The Streamlit app: the only place that imports streamlit. It imports no torch; training is a process of its own."""
