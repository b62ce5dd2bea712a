export const mockHub = () => ({ name: 'iotpi-mock-hub' });
