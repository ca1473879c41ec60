-- Only now may lanes be held: a worker of the previous release would write down what comes after them.
GRANT INSERT ON webhook_held_lanes TO sluice_worker;
