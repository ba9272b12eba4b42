ALTER ROLE mmuser IN DATABASE mattermost SET application_name = 'it''s "q" \ x'; ALTER ROLE reader IN DATABASE mattermost SET search_path = ''; ALTER DATABASE mattermost CONNECTION LIMIT 77; COMMENT ON DATABASE mattermost IS 'the ''database'' \ :x';
ALTER DATABASE mattermost SET lc_monetary = 'C'; ALTER DATABASE mattermost SET session_replication_role = origin; ALTER DATABASE mattermost SET log_min_duration_statement = 500;
ALTER ROLE mmuser SET work_mem = '9MB'; GRANT CONNECT ON DATABASE mattermost TO third; REVOKE TEMPORARY ON DATABASE mattermost FROM PUBLIC;
ALTER DATABASE mattermost SET "my.custom" = 'a, "b" ''c'' \ d';
