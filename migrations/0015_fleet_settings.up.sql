-- How a session behaves by itself.
--
-- Every statement may run again: a column that is there already is not added twice.

SET @wafleet_ddl = (
    SELECT IF(COUNT(*) > 0, 'DO 0', CONCAT(
        'ALTER TABLE `wafleet_sessions` ',
        -- ring | reject: what becomes of calls, as `session.start` or `session.settings` said it; NULL: they ring.
        'ADD COLUMN `calls` VARCHAR(16) NULL'
    ))
    FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'wafleet_sessions' AND COLUMN_NAME = 'calls'
);
PREPARE wafleet_statement FROM @wafleet_ddl;
EXECUTE wafleet_statement;
DEALLOCATE PREPARE wafleet_statement;
