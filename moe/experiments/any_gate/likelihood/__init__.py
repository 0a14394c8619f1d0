"""What maximum likelihood does where its gate is the wrong one."""
