"""The connection form of Airflow before 3.3, which builds it from Flask widgets."""

from __future__ import annotations

from typing import Any

from airflow_provider_moengage import connection_form


def form_widgets() -> dict[str, Any]:
    """Return a widget for each of the form's own fields."""
    from flask_appbuilder.fieldwidgets import BS3PasswordFieldWidget, BS3TextFieldWidget
    from wtforms import IntegerField, PasswordField, StringField
    from wtforms.validators import Optional, any_of

    widgets: dict[str, Any] = {}
    for name, field in connection_form.EXTRA_FIELDS.items():
        schema = field["schema"]
        widget = BS3TextFieldWidget()
        # Airflow has no field for fractions: a number is entered as text, and the hook converts it.
        kind = IntegerField if schema["type"][0] == "integer" else StringField
        if schema.get("format") == "password":
            kind, widget = PasswordField, BS3PasswordFieldWidget()
        validators = [Optional()]
        if "enum" in schema:
            validators.append(any_of(schema["enum"]))  # Airflow 3 shows a list of choices instead
        widgets[name] = kind(
            field["label"], widget=widget, description=field["description"], validators=validators
        )
    return widgets
