"""The vendor, Huawei Cloud DataArts Studio: signs, sends, reads and classifies its release calls."""
