-- migrate:up transaction:false lock_timeout:0 statement_timeout:0

DO $do$
DECLARE
    checked regclass;
BEGIN
    FOR checked IN SELECT conrelid FROM pg_constraint WHERE conname = 'in_first_period' LOOP
        EXECUTE format('ALTER TABLE %s VALIDATE CONSTRAINT in_first_period', checked);
    END LOOP;
END
$do$;

-- migrate:down
