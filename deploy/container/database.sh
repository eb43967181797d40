# Makes the schema's owner and the database, once, when the data directory is new: the image sources this file.
psql --no-psqlrc --set ON_ERROR_STOP=1 --set password="$(cat /run/secrets/database_owner_password)" \
    --username "${POSTGRES_USER:-postgres}" --dbname postgres <<'SQL'
create role tallystick_owner login createrole password :'password';
create database tallystick owner tallystick_owner encoding 'UTF8' template template0;
SQL
