"""
Onehouse in Airflow: operators that defer, and one tracker for all that a triggerer follows.

It needs Airflow 2.11 or 3, which the extra ``airflow`` asks for, and is imported by the names
of its modules: ``operators``, ``sensors``, ``hook``, ``trigger``.
"""
