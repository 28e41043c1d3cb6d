//! Every route through the router, with an engine that only writes down what it is asked.
