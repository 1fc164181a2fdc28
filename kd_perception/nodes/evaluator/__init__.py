"""The node `evaluator`: collects predictions of the running graph and scores them."""
