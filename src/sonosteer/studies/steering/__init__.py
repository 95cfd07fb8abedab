"""Tables and figures of Carriere et al. 2019, ours beside theirs."""
