"""Tenants: their names, settings and life, and the directory by which every process knows them."""
