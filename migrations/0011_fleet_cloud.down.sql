SET @wafleet_ddl = (
    SELECT IF(COUNT(*) = 0, 'DO 0', 'ALTER TABLE `wafleet_commands` DROP COLUMN `cloud_ack`, DROP COLUMN `provider`')
    FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'wafleet_commands' AND COLUMN_NAME = 'provider'
);
PREPARE wafleet_statement FROM @wafleet_ddl;
EXECUTE wafleet_statement;
DEALLOCATE PREPARE wafleet_statement;

DROP TABLE IF EXISTS `wafleet_cloud_bindings`;
DROP TABLE IF EXISTS `wafleet_cloud_numbers`;
