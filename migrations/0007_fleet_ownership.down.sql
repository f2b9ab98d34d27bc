SET @wafleet_ddl = (
    SELECT IF(COUNT(*) = 0, 'DO 0', 'ALTER TABLE `wafleet_commands` DROP COLUMN `begun_by`, DROP COLUMN `crashes`')
    FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'wafleet_commands' AND COLUMN_NAME = 'crashes'
);
PREPARE wafleet_statement FROM @wafleet_ddl;
EXECUTE wafleet_statement;
DEALLOCATE PREPARE wafleet_statement;

SET @wafleet_ddl = (
    SELECT IF(COUNT(*) = 0, 'DO 0', 'ALTER TABLE `wafleet_sessions` DROP COLUMN `relocations`')
    FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'wafleet_sessions' AND COLUMN_NAME = 'relocations'
);
PREPARE wafleet_statement FROM @wafleet_ddl;
EXECUTE wafleet_statement;
DEALLOCATE PREPARE wafleet_statement;
