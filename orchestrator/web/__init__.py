"""What people see: the buyer's payment page and the operators' dashboard. Rendered here, no asset from elsewhere."""
