"""The audit of the audit: who looked at or changed what, in each tenant's `access` log."""
