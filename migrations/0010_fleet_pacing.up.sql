-- Pacing: limits of a session's own, and whom a session has exchanged messages with.
--
-- Every statement may run again: a column that is there already is not added twice.

SET @wafleet_ddl = (
    SELECT IF(COUNT(*) > 0, 'DO 0', CONCAT(
        'ALTER TABLE `wafleet_sessions` ',
        -- What differs from the fleet's settings, as `session.limits` said it.
        'ADD COLUMN `limits` JSON NULL'
    ))
    FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'wafleet_sessions' AND COLUMN_NAME = 'limits'
);
PREPARE wafleet_statement FROM @wafleet_ddl;
EXECUTE wafleet_statement;
DEALLOCATE PREPARE wafleet_statement;

-- A contact that has no row here is cold to the session. The contact is a hash: the fleet needs to recognise it, not to read it.
CREATE TABLE IF NOT EXISTS `wafleet_contacts` (
    `session_id` VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    -- SHA-256 over the workspace and the contact's address.
    `contact` BINARY(32) NOT NULL,
    `workspace_id` BIGINT UNSIGNED NOT NULL,
    `met_at` DATETIME(3) NOT NULL DEFAULT (UTC_TIMESTAMP(3)),
    PRIMARY KEY (`session_id`, `contact`),
    KEY `wafleet_contacts_workspace_id_contact_met_at_index` (`workspace_id`, `contact`, `met_at`)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci COMMENT = 'created by wafleet';
