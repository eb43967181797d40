# Serves a folder as S3. A folder in it is a bucket; nobody else makes ours.
set -eu
export ROOT_ACCESS_KEY=tallystick ROOT_SECRET_KEY
ROOT_SECRET_KEY=$(cat /run/secrets/objects_secret_key)
mkdir -p /objects/tallystick
exec versitygw --quiet --health /health --port :7070 posix --sidecar /metadata /objects
