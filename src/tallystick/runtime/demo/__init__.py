"""The demonstration: a made-up group of companies, a week of its activity, and one incident."""
