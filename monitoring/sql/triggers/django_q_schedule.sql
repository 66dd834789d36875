CREATE TRIGGER refuse_unknown_task BEFORE INSERT OR UPDATE ON django_q_schedule
FOR EACH ROW EXECUTE FUNCTION refuse_unknown_task();
