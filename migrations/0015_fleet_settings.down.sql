SET @wafleet_ddl = (
    SELECT IF(COUNT(*) = 0, 'DO 0', 'ALTER TABLE `wafleet_sessions` DROP COLUMN `calls`')
    FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'wafleet_sessions' AND COLUMN_NAME = 'calls'
);
PREPARE wafleet_statement FROM @wafleet_ddl;
EXECUTE wafleet_statement;
DEALLOCATE PREPARE wafleet_statement;
