-- Medians of the readings and of the ratios of one part, :part.  The tables are
-- made by lib.sh, readings_as_sql.

\pset border 2
\pset footer off

-- As many digits as mean something.
CREATE FUNCTION pg_temp.show(x numeric) RETURNS text LANGUAGE sql AS $$
	SELECT CASE WHEN x = trunc(x) OR abs(x) >= 100 THEN to_char(round(x), 'FM999,999,999,990')
		WHEN abs(x) >= 10 THEN to_char(x, 'FM990.0') ELSE to_char(x, 'FM990.000') END
$$;

SELECT "case", metric || CASE unit WHEN '1' THEN '' ELSE ', ' || unit END AS metric,
	pg_temp.show(percentile_cont(0.5) WITHIN GROUP (ORDER BY value)::numeric) AS median
FROM reading
WHERE part = :'part'
GROUP BY "case", metric, unit
ORDER BY min(number)
\crosstabview "case" metric median

SELECT EXISTS (SELECT 1 FROM ratio WHERE part = :'part') AS has_ratios \gset
\if :has_ratios
\echo
SELECT name AS ratio, to_char(percentile_cont(0.5) WITHIN GROUP (ORDER BY a.value / b.value), 'FM990.000') AS median,
	to_char(min(a.value / b.value), 'FM990.000') AS least, to_char(max(a.value / b.value), 'FM990.000') AS most, count(*) AS n, aim
FROM ratio AS o
	JOIN reading AS a ON a.part = o.part AND a."case" = case_above AND a.metric = metric_above
	JOIN reading AS b ON b.part = o.part AND b."case" = case_below AND b.metric = metric_below AND b.round = a.round
WHERE o.part = :'part'
GROUP BY o.number, name, aim
ORDER BY o.number;
\endif
