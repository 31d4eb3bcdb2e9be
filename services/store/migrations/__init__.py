"""Migrations of the store's database; `services.store.migrate` runs them."""
