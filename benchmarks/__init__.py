"""What kinesis costs, beside its peers, in one run each."""
