-- What tells a command that takes its workers down from one that merely waits, and a session that no worker can run from
-- one that this worker cannot run.
--
-- Every statement may run again: a column that is there already is not added twice.

SET @wafleet_ddl = (
    SELECT IF(COUNT(*) > 0, 'DO 0', CONCAT(
        'ALTER TABLE `wafleet_commands` ',
        -- The process that executes it now. Another process that finds it here knows that this one did not come to an end.
        'ADD COLUMN `begun_by` VARCHAR(160) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL, ',
        -- Executions that ended with their process, or with a panic.
        'ADD COLUMN `crashes` INT UNSIGNED NOT NULL DEFAULT 0'
    ))
    FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'wafleet_commands' AND COLUMN_NAME = 'crashes'
);
PREPARE wafleet_statement FROM @wafleet_ddl;
EXECUTE wafleet_statement;
DEALLOCATE PREPARE wafleet_statement;

SET @wafleet_ddl = (
    SELECT IF(COUNT(*) > 0, 'DO 0', CONCAT(
        'ALTER TABLE `wafleet_sessions` ',
        -- Workers that have given it up one after the other since it was last connected.
        'ADD COLUMN `relocations` INT UNSIGNED NOT NULL DEFAULT 0'
    ))
    FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'wafleet_sessions' AND COLUMN_NAME = 'relocations'
);
PREPARE wafleet_statement FROM @wafleet_ddl;
EXECUTE wafleet_statement;
DEALLOCATE PREPARE wafleet_statement;
