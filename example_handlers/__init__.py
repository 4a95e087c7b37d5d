"""An example of an app with handlers: reminders, and who is on call. `BOTADMIN_APPS=
example_handlers` switches it on; `docs/handlers.md` says how to write one."""
