SELECT user_id, 'hidden' || '-' || 'value' AS secret FROM users WHERE user_id <> '{{ dag.dag_id }}'
