"""
Onehouse in Airflow: operators that defer, and one tracker for all requests of a triggerer.

It needs Airflow 2.11 or 3, which the extra ``airflow`` installs, and is imported by the names
of its modules: ``operators``, ``sensors``, ``hook``, ``trigger``.
"""
