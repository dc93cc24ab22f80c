--
-- The settings: their defaults, bounds, and who may set them
--
-- the library defines them when it is loaded
SELECT count(*) > 0 AS loaded FROM digipay_response_code;
SELECT name, boot_val, unit, vartype, min_val, max_val
FROM pg_settings WHERE name LIKE 'digipay.%' ORDER BY name COLLATE "C";
-- (how the fixed ones are set depends on preloading)
SELECT name, context FROM pg_settings
WHERE name LIKE 'digipay.%' AND name NOT IN ('digipay.databases', 'digipay.secret_dir')
	ORDER BY name COLLATE "C";

-- not by SET
\set VERBOSITY sqlstate
SET digipay.databases = 'regress';
SET digipay.secret_dir = '/tmp';
SET digipay.max_connections = 1;
SET digipay.idle_timeout = 1;
SET digipay.shutdown_grace = 1;
SET digipay.take_over_on_promotion = on;
\set VERBOSITY default

-- bounds
SET digipay.max_response_size = 0;
SET digipay.max_response_size = '1GB';
SET digipay.max_response_size = '64kB';
SHOW digipay.max_response_size;
RESET digipay.max_response_size;
-- no such setting; only the first line, the rest depends on the version
\set VERBOSITY terse
SET digipay.no_such = 1;
\set VERBOSITY default

-- a plain role may not send a caller's money elsewhere, nor see where the keys are
CREATE ROLE regress_cashier;
SET ROLE regress_cashier;
SET digipay.server = 'regress_other';
SET digipay.max_response_size = '1MB';
SHOW digipay.server;
\set VERBOSITY sqlstate
SHOW digipay.secret_dir;
\set VERBOSITY default

-- nor before the library is loaded
\connect -
SET ROLE regress_cashier;
SET digipay.server = 'regress_other';
SELECT count(*) > 0 AS loaded FROM digipay_response_code;
SHOW digipay.server;
RESET ROLE;
DROP ROLE regress_cashier;
