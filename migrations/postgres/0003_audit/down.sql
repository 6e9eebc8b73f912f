DROP INDEX sessions_live;
DROP TABLE audit_events;
DROP FUNCTION audit_events_are_not_changed();
