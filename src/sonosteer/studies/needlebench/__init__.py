"""The benchmark needlebench: who finds and follows the tip of a needle, and who knows when to be silent?"""
