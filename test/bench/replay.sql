-- Microseconds of a SELECT by primary key and of digipay_pay for the same final
-- payment, in turn, in one PL/pgSQL loop.
CREATE FUNCTION bench_replay(the_ref_id text, n integer,
	OUT select_p50 numeric, OUT select_p99 numeric, OUT pay_p50 numeric, OUT pay_p99 numeric)
LANGUAGE plpgsql AS $$
DECLARE
	selected digipay_payment;
	paid digipay_payment;
	t0 timestamptz;
	t1 timestamptz;
	t2 timestamptz;
	select_times interval[];
	pay_times interval[];
BEGIN
	FOR i IN -200 .. n LOOP
		t0 := clock_timestamp();
		SELECT * INTO selected FROM digipay_payment WHERE server = 'http' AND ref_id = the_ref_id;
		t1 := clock_timestamp();
		SELECT * INTO paid FROM digipay_pay('pln', '530000000001', the_ref_id, server => 'http');
		t2 := clock_timestamp();
		IF i > 0 THEN
			select_times[i] := t1 - t0;
			pay_times[i] := t2 - t1;
		END IF;
	END LOOP;
	IF selected IS DISTINCT FROM paid OR paid.state <> 'succeeded' THEN
		RAISE 'digipay_pay returns another row than the journal has';
	END IF;
	SELECT 1e6 * extract(epoch FROM percentile_cont(0.5) WITHIN GROUP (ORDER BY t)),
		1e6 * extract(epoch FROM percentile_cont(0.99) WITHIN GROUP (ORDER BY t))
	INTO select_p50, select_p99 FROM unnest(select_times) AS t;
	SELECT 1e6 * extract(epoch FROM percentile_cont(0.5) WITHIN GROUP (ORDER BY t)),
		1e6 * extract(epoch FROM percentile_cont(0.99) WITHIN GROUP (ORDER BY t))
	INTO pay_p50, pay_p99 FROM unnest(pay_times) AS t;
END
$$;
