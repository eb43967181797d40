"""The Postman collection: what it asks (`declared`), how it is made (`collection`), and how it is run (`newman`)."""
