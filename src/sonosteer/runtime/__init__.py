"""The loop on one page, and the ledger of its frames."""
