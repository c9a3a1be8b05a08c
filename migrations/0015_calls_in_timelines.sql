-- migrate:up

-- How a timeline shows a call: that it begins, and where it is over what it came to.
CREATE FUNCTION call_in_timeline(a attempts, is_over boolean) RETURNS jsonb
LANGUAGE sql STABLE
AS $$
SELECT jsonb_build_object(
    'number', a.number, 'manual', a.manual,
    'started_at', to_char(a.started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
) || CASE
    WHEN is_over THEN jsonb_build_object(
        'outcome', a.outcome, 'duration_ms', round(1000 * extract(epoch FROM a.finished_at - a.started_at)),
        'http_status', a.http_status, 'error_code', a.error_code, 'vendor_request_id', a.vendor_request_id
    )
    ELSE '{}'
END
$$;

-- The calls that were made for the items of a request.
CREATE FUNCTION calls_for_items(of_request uuid) RETURNS jsonb
LANGUAGE sql STABLE
AS $$
SELECT jsonb_build_object('calls', coalesce(jsonb_agg(
    jsonb_build_object('batch_id', a.batch_id) || call_in_timeline(a, a.outcome IS NOT NULL) ORDER BY a.started_at
), '[]'))
FROM attempts AS a
WHERE a.batch_id IN (SELECT i.batch_id FROM release_items AS i WHERE i.request_id = of_request)
$$;

-- migrate:down
