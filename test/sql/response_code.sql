--
-- The response codes: total, since the row whose rc is NULL stands for all others
--
\pset null '(null)'
SELECT count(*), count(rc), count(DISTINCT rc),
	count(*) FILTER (WHERE rc !~ '^[0-9]{2}$') AS odd FROM digipay_response_code;

-- all of them
TABLE digipay_response_code;

-- how many lead to what
SELECT on_pay, count(*), string_agg(rc, ' ' ORDER BY rc) FROM digipay_response_code GROUP BY on_pay
	ORDER BY on_pay;
SELECT on_status, count(*), string_agg(rc, ' ' ORDER BY rc) FROM digipay_response_code
	GROUP BY on_status ORDER BY on_status;
SELECT on_webhook, count(*), string_agg(rc, ' ' ORDER BY rc) FROM digipay_response_code
	GROUP BY on_webhook ORDER BY on_webhook;

-- the conclusions are states
SELECT DISTINCT s FROM digipay_response_code, unnest(ARRAY[on_pay, on_status, on_webhook]) AS s
WHERE NOT s = ANY (enum_range(NULL::digipay_state)::text[]);
-- success has one code, and nothing that may have been created is rejected
SELECT rc FROM digipay_response_code WHERE 'succeeded' IN (on_pay, on_status, on_webhook)
	OR status = 'Sukses';
SELECT rc FROM digipay_response_code WHERE on_pay = 'rejected' AND created IS NOT false;
SELECT rc FROM digipay_response_code WHERE on_pay = 'failed' AND created IS NOT true;
-- every answer to a payment leads somewhere
SELECT rc FROM digipay_response_code WHERE on_pay IS NULL;

-- the view for a payment whose code is known, and for one whose is not
SELECT v.rc, c.meaning, c.on_pay
FROM (VALUES ('00'), ('44'), ('77'), ('')) AS v (rc),
	LATERAL (SELECT * FROM digipay_response_code AS c WHERE c.rc = v.rc OR c.rc IS NULL
		ORDER BY c.rc LIMIT 1) AS c;
