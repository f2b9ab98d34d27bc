DROP TABLE IF EXISTS `wafleet_optouts`;
DROP TABLE IF EXISTS `wafleet_campaign_contacts`;
DROP TABLE IF EXISTS `wafleet_campaigns`;

SET @wafleet_ddl = (
    SELECT IF(COUNT(*) = 0, 'DO 0', 'ALTER TABLE `wafleet_commands` DROP KEY `wafleet_commands_workspace_id_campaign_state_index`, DROP COLUMN `campaign`')
    FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'wafleet_commands' AND COLUMN_NAME = 'campaign'
);
PREPARE wafleet_statement FROM @wafleet_ddl;
EXECUTE wafleet_statement;
DEALLOCATE PREPARE wafleet_statement;
