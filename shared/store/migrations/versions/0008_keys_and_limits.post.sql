-- These two counted channels that were given up.
DROP INDEX channels_never_opened;
DROP INDEX channels_to_watch;
