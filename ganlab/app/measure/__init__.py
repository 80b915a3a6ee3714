"""The parts of the page Measure. They read what evaluations left in files: no torch, no features, no data set."""
