-- Only now may payments be moved: the previous release looks for them in `payments` alone.
GRANT EXECUTE ON FUNCTION archive_payments(text, integer, integer, double precision) TO sluice_worker;
GRANT EXECUTE ON FUNCTION drop_payments_month(double precision) TO sluice_worker;
