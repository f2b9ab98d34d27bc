-- Takes back what the up migration created: the whole table, or the columns it added to the host's table.
-- A status column that was widened stays VARCHAR(32): rows may hold values the former ENUM did not have.

SET SESSION group_concat_max_len = 65536;

SET @wafleet_ddl = (
    SELECT CONCAT(
        'ALTER TABLE `whatsapp_sessions` ',
        GROUP_CONCAT('DROP COLUMN `', added.COLUMN_NAME, '`' ORDER BY added.ORDINAL_POSITION SEPARATOR ', ')
    )
    FROM information_schema.COLUMNS AS added
    WHERE added.TABLE_SCHEMA = DATABASE() AND added.TABLE_NAME = 'whatsapp_sessions' AND added.COLUMN_COMMENT = 'added by wafleet'
);
SET @wafleet_ddl = COALESCE(@wafleet_ddl, 'DO 0');
PREPARE wafleet_statement FROM @wafleet_ddl;
EXECUTE wafleet_statement;
DEALLOCATE PREPARE wafleet_statement;

-- A table the host refers to by a foreign key is not dropped: the server refuses, and the data stays.
SET @wafleet_ddl = (
    SELECT 'DROP TABLE `whatsapp_sessions`'
    FROM information_schema.TABLES AS ours
    WHERE ours.TABLE_SCHEMA = DATABASE() AND ours.TABLE_NAME = 'whatsapp_sessions' AND ours.TABLE_COMMENT = 'created by wafleet'
);
SET @wafleet_ddl = COALESCE(@wafleet_ddl, 'DO 0');
PREPARE wafleet_statement FROM @wafleet_ddl;
EXECUTE wafleet_statement;
DEALLOCATE PREPARE wafleet_statement;
