"""Messages built field by field, once for both type systems: live classes (`ros.live`) and bags (`bags.messages`)."""
