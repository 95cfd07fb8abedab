"""Pure image mathematics: ray sampling, ridge score, patches. No state, no files, no clock."""
