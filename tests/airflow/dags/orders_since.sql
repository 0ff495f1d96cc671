SELECT user_id, at, total FROM orders WHERE at >= '{{ since }}' AND at < '{{ until }}'
