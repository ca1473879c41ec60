-- Only now may lanes be held: a worker of the previous release would write down what comes after them.
GRANT INSERT ON webhook_held_lanes TO sluice_worker;

-- The previous release has read lanes by this one.
DROP INDEX webhook_deliveries_waiting;
