"""The dashboard of Grafana: its panels, declared, and as JSON."""
