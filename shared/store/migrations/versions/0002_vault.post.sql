-- The index that knows no references: releases before this one needed it.
DROP INDEX journal_one_unfinished;
