-- Whether this role may add tables to the publication, or make it where it is missing.
SELECT
    quote_ident(current_user) AS role,
    quote_ident(current_database()) AS database,
    has_database_privilege(current_database(), 'CREATE') AS may_create,
    (SELECT pg_has_role(pubowner, 'USAGE') FROM pg_publication WHERE pubname = %(publication)s) AS owns
