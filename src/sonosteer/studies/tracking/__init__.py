"""Tables and figures of Mathiassen et al. 2017, ours beside theirs."""
