"""The app: `streamlit run streamlit_app.py`. Navigation only; the pages are in ganlab/app/pages."""

import streamlit as st

from ganlab.app.pages import explore
from ganlab.app.state import ICON, settle


def train() -> None:
    """Imported when it is first opened: its charts take pandas and Altair, which Explore does without."""
    from ganlab.app.pages import train

    train.page()


def measure() -> None:
    """Likewise."""
    from ganlab.app.pages import measure

    measure.page()


st.set_page_config(page_title="ganlab", page_icon=str(ICON), layout="wide")
settle()
page = st.navigation(
    [
        st.Page(explore.page, title="Explore", icon=":material/explore:", url_path="explore", default=True),
        st.Page(train, title="Train", icon=":material/model_training:", url_path="train"),
        st.Page(measure, title="Measure", icon=":material/straighten:", url_path="measure"),
    ],
    position="top",
)
page.run()
