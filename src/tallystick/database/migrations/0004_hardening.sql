-- What is made from here on is closed until it is granted.

-- For all schemas: the grant of EXECUTE to everybody is built in, and only a revocation that names no schema takes it away.
alter default privileges revoke execute on functions from public;
